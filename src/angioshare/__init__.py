"""AngioShare: labelled brain angiograms in, synthetic pairs with a true privacy guarantee out."""

__version__ = "0.1.0"

__all__ = ["__version__"]
