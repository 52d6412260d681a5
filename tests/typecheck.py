"""The run-time type checker of the tests: beartype, which here takes whole numbers for floats as PEP 484 does."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
