"""Resume-job matching research as notebooks: data rules, training, evaluation, reports."""

__version__ = "0.1.0"
