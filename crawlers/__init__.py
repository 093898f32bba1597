"""Crawling with Scrapy, as a process of its own: ``python -m crawlers``."""
