"""Models, data and results in files."""

from lucid.io.errors import DataError as DataError
from lucid.io.errors import MissingPackageError as MissingPackageError
from lucid.io.errors import ModelError as ModelError
from lucid.io.errors import OutputError as OutputError
from lucid.io.models import load as load
from lucid.io.models import save as save
from lucid.io.rows import Rows as Rows
from lucid.io.rows import open_rows as open_rows
from lucid.io.scoring import Scores as Scores
from lucid.io.scoring import score as score
