"""What a target offers and how it behaves, found out from plain calls."""

from .find import find as find
from .find import probed as probed
