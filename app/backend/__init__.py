"""The only part of the app that touches models, banks and devices: plain names in, plain data out, cached.

Every cached function takes strings and numbers alone, and what it returns is shared by all users and read-only. Work on
the device goes through one semaphore. Nothing here draws; expected failures raise `AppError` with one sentence.
"""

from app.backend.banks import Step as Step
from app.backend.banks import activations as activations
from app.backend.banks import bank as bank
from app.backend.banks import compute_banks as compute_banks
from app.backend.banks import measured_rate as measured_rate
from app.backend.banks import missing_sets as missing_sets
from app.backend.banks import remember_rate as remember_rate
from app.backend.deep import deep_grid as deep_grid
from app.backend.deep import deep_methods as deep_methods
from app.backend.deep import deep_table as deep_table
from app.backend.engine import is_linear as is_linear
from app.backend.engine import run as run
from app.backend.engine import warm_up as warm_up
from app.backend.evaluations import Evaluation as Evaluation
from app.backend.evaluations import auroc_interval as auroc_interval
from app.backend.evaluations import evaluation as evaluation
from app.backend.evaluations import grid as grid
from app.backend.evaluations import measure as measure
from app.backend.evaluations import react_thresholds as react_thresholds
from app.backend.evaluations import scrub as scrub
from app.backend.evaluations import table as table
from app.backend.evaluations import unshaped as unshaped
from app.backend.names import SUBSET_ID as SUBSET_ID
from app.backend.names import SUBSET_OOD as SUBSET_OOD
from app.backend.names import chosen_sets as chosen_sets
from app.backend.names import datasets as datasets
from app.backend.names import entry as entry
from app.backend.names import images as images
from app.backend.names import models as models
from app.backend.names import placements as placements
from app.backend.names import presets as presets
from app.backend.names import set_label as set_label
from app.backend.names import whole_set as whole_set
from app.backend.origin import badge as badge
from app.backend.origin import provenance as provenance
from app.backend.samples import Sample as Sample
from app.backend.samples import Suggestion as Suggestion
from app.backend.samples import picture as picture
from app.backend.samples import sample as sample
from app.backend.samples import suggestions as suggestions
from app.backend.spreads import Spread as Spread
from app.backend.spreads import spread as spread
