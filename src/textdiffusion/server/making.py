"""From what is asked for to tasks of the engine."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import SettingsError
from ..generation import Decoding
from ..guidance import Classifier
from ..language_model import AUTO, DiffusionLM, Length
from ..serving.request import Order
from ..tasks import Task
from ..tokens import TextFormat
from .writing import Wanted

Read = Callable[[Sequence[int]], str]


class Maker:
    """Makes the texts of one request; to be used where no other request is made out meanwhile."""

    def __init__(
        self, lm: DiffusionLM, reading: TextFormat, decoding: Decoding, guide: Classifier | None, likely: int
    ) -> None:
        """`reading` is what texts are read with later; `likely` tokens of each place are shown."""
        self.lm, self.reading, self.decoding, self.guide, self.likely = lm, reading, decoding, guide, likely

    def continued(
        self, ids: Sequence[int], length: Length | None, seed: int, prompt: int, *, strips: bool = False
    ) -> Wanted:
        """Ids that go on."""
        ids, own = list(ids), self.reading

        def order(lm: DiffusionLM) -> Task:
            return self._own(lm.continuing([ids], length=length, seeds=[seed], decoding=self.decoding))

        # A length that is read asks the network, which is the engine's: the task is then made in its turn.
        asked: Order = order if length == AUTO else order(self.lm)
        return Wanted(asked, seed, prompt, ids, None, lambda found: own.continued(ids, found), strips=strips)

    def between(self, before: str, size: int, after: str, seed: int, prompt: int) -> Wanted:
        """The gap between two texts."""
        self._check_room(size)
        ids, holes = self.lm.format.between(before, size, after)
        own = self.reading
        return self._filling(ids, holes, seed, prompt, lambda found: own.inserted(before, found), grows=True)

    def filled(self, text: str, seed: int) -> Wanted:
        """A text with holes, as the whole text that it becomes."""
        gaps, _ = self.lm.format.frame(text)
        self._check_room(sum(size for _, size in gaps))
        ids, holes = self.lm.format.template(text)
        own = self.reading
        return self._filling(ids, holes, seed, 0, lambda found: own.filled(text, found))

    def filled_ids(self, given: Sequence[int | None], seed: int) -> Wanted:
        """The same of ids, None in the holes."""
        holes = [id is None for id in given]
        if not any(holes):
            raise SettingsError("tokens have no hole; put null for each token that is to be written.")
        ids = [self.lm.format.mask_id if id is None else id for id in given]
        own = self.reading

        def read(found: Sequence[int]) -> str:
            left = iter(found)
            return own.decode([next(left) if hole else id for id, hole in zip(ids, holes, strict=True)])

        return self._filling(ids, holes, seed, 0, read)

    def _filling(
        self,
        ids: Sequence[int],
        holes: Sequence[bool],
        seed: int,
        prompt: int,
        read: Read,
        *,
        grows: bool = False,
    ) -> Wanted:
        task = self.lm.filling([(ids, holes)], seeds=[seed], decoding=self.decoding)
        return Wanted(self._own(task), seed, prompt, ids, holes, read, grows)

    def _own(self, task: Task) -> Task:
        return replace(task, classifier=self.guide, likely=self.likely)

    def _check_room(self, size: int) -> None:
        """Refuse what is too long before it is laid out."""
        if size > self.lm.longest:
            raise SettingsError(
                f"the holes have {size} tokens, but the model holds {self.lm.longest}; ask for less."
            )
