"""`textdiffusion serve`: a model for clients of OpenAI's interface."""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..errors import IncompatibleError, SettingsError
from ..serving import MERGINGS, Engine, Limits
from .flags import Parser, build
from .model import ModelChoice
from .quiet import quiet_libraries

try:
    from ..server import ServerSettings, make_app
    from ..server.running import address_of, listening
    from ..server.running import run as serve
except ModuleNotFoundError as error:
    raise IncompatibleError(
        f"the server needs {error.name}, which is not installed; run `pip install 'textdiffusion[server]'`."
    ) from None

KEY = "TEXTDIFFUSION_API_KEY"
"""Environment variable with a key that clients must give."""


@dataclass(frozen=True)
class Service(ModelChoice):
    """Which model is served, and where."""

    host: str = "127.0.0.1"
    """Address to listen at; by the default nobody but this machine reaches it."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    compile: bool = False
    """Compile the layers with torch.compile first; it pays on GPUs, seldom on a CPU."""
    merging: str = next(iter(MERGINGS))
    """How requests share passes: padded (fastest), fixed, or alone."""
    classifier: str | None = None
    """Folder or Hub id of a classifier, of the model's tokens, to whose labels clients may steer."""
    api_key_file: Path | None = None
    """File with keys that clients must give, one a line, beside that of TEXTDIFFUSION_API_KEY."""
    grace: float = 30.0
    """Seconds that what runs has left at the end."""
    proxy: tuple[str, ...] = ()
    """Address of a proxy whose word for the address of clients is taken; may be repeated."""
    log: bool = False
    """Write a line for each request on standard error."""

    def __post_init__(self) -> None:
        """Refuse what would be refused after loading.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port is {self.port}; give one from 1 to 65535, or 0 for a free one.")
        if not 1.0 <= self.grace < float("inf"):
            raise SettingsError(f"grace is {self.grace}; give at least 1 second.")
        MERGINGS.canonical(self.merging)

    @property
    def keys(self) -> list[str]:
        """The keys that clients may give; none where everybody may ask.

        Raises:
            SettingsError: the file cannot be read, or holds none.
        """
        found = [os.environ[KEY].strip()] if os.environ.get(KEY, "").strip() else []
        if self.api_key_file is None:
            return found
        try:
            lines = self.api_key_file.read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read --api-key-file {self.api_key_file}: {error}.") from None
        own = [line.strip() for line in lines if line.strip()]
        if not own:
            raise SettingsError(f"--api-key-file {self.api_key_file} holds no key; write one in a line.")
        return found + own

    @property
    def reaches_out(self) -> bool:
        """Whether others than this machine reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def run(prog: str, argv: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    parser = Parser(prog, "Serve a model by OpenAI's interface, with continuous batching.")
    parser.add_fields(Service)
    parser.add_fields(ServerSettings, title="what clients may ask")
    parser.add_fields(Limits, title="what is written at once")
    given = parser.read(argv)
    service, settings, limits = build(Service, given), build(ServerSettings, given), build(Limits, given)
    keys, notes = service.keys, Console(stderr=True, highlight=False)
    with listening(service.host, service.port) as opened:
        quiet_libraries()
        with notes.status("loading the model"):
            lm = service.load(compile=service.compile)
        engine = Engine(lm, limits, merging=service.merging)
        classifier = service.classifier
        guides = None if classifier is None else lambda label: lm.load_classifier(classifier, label)
        app = make_app(lm, engine, settings, keys=keys, guides=guides)
        if service.reaches_out and not keys:
            said = f"warning: {service.host} can be reached by others, and no key is asked for; set {KEY}"
            notes.print(said, markup=False, soft_wrap=True)
        print(f"serving {lm.name} at {address_of(opened)} (Ctrl-C ends)", flush=True)
        in_peace = serve(app, opened, grace=service.grace, proxies=",".join(service.proxy), log=service.log)
    if not in_peace:
        raise KeyboardInterrupt
    return 0
