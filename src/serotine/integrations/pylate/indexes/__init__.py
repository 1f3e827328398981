"""`indexes`: PyLate's index classes, all over a `serotine.Index`.

The index is the folder ``index_folder/index_name``, which `serotine.Index.open` and the command line read too, the same
under every class. `PLAID`, `WARP` and `Tachiom` return documents; `Voyager` and `ScaNN` tokens, for `retrieve.XTR`.
"""

from serotine.integrations.pylate.indexes.aliases import WARP, Tachiom
from serotine.integrations.pylate.indexes.plaid import PLAID
from serotine.integrations.pylate.indexes.scann import ScaNN
from serotine.integrations.pylate.indexes.voyager import Voyager

__all__ = ["PLAID", "WARP", "ScaNN", "Tachiom", "Voyager"]
