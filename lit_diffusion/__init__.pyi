from lit_diffusion.api import TrainedModel as TrainedModel
from lit_diffusion.api import load as load
from lit_diffusion.api import score as score
from lit_diffusion.api import train as train

__version__: str
