"""What a word is where words are compared or damaged."""

import re

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+")
"""Letters and digits that stand together; in Chinese and Japanese, which do not part words, a character."""
