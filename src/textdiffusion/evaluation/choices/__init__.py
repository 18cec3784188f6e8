"""Benchmarks of choosing, filling gaps and answering, from the files in which they are published."""

from .comparison import Report, compare, difference_row
from .measures import Subject
from .tasks import TASKS, Benchmark

__all__ = ["TASKS", "Benchmark", "Report", "Subject", "compare", "difference_row"]
