"""Which method suits a cohort and a budget, with which settings, and what to expect: from public numbers alone."""

from angioshare.stages.recommend.advice import advise, recommended_config, with_protocol
from angioshare.stages.recommend.rows import Advice, Row

__all__ = ["Advice", "Row", "advise", "recommended_config", "with_protocol"]
