"""Poems from a site of an index and pages of authors: politely, and whole after any interruption."""

from .crawler import CrawlReport, Limits, crawl
from .pages import Manners
from .site import PoemShape, Site, find_site

__all__ = ["CrawlReport", "Limits", "Manners", "PoemShape", "Site", "crawl", "find_site"]
