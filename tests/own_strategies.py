"""Strategies for the contracts: a stock one of modAL, and a user's own file, in which `rarest` alone is sound."""

STOCK = "modAL.uncertainty:margin_sampling"


USER_FILE = '''
from dataclasses import replace

import numpy as np
from discover.query.acquire import Picks, gumbel_top_k

def rarest(view, n, rng, *, power=1.0):
    """Where the rarest class is likely."""
    rare = view.probabilities[:, view.probabilities.mean(axis=0).argmin()]
    return gumbel_top_k(rare**power, n, rng, view.temperature, view.floor)

def twice(view, n, rng):
    return Picks(np.zeros(n, np.int64), np.zeros(n), np.zeros(n))

def outside(view, n, rng):
    return Picks(np.arange(n) + len(view), np.zeros(n), np.zeros(n))

def bare(view, n, rng):
    return np.arange(n)

def too_many(view, n, rng):
    return Picks(np.arange(n + 1), np.zeros(n + 1), np.zeros(n + 1))

def infinite(view, n, rng):
    return Picks(np.arange(n), np.zeros(n), np.full(n, -np.inf))

def impossible(view, n, rng):
    return replace(gumbel_top_k(view.age, n, rng, view.temperature, view.floor), set_log_propensity=-np.inf)

def unlikely(view, n, rng):
    return replace(gumbel_top_k(view.age, n, rng, view.temperature, view.floor), set_log_propensity=-50.0)

def even(view, n, rng):
    return replace(gumbel_top_k(view.age, n, rng, view.temperature, view.floor), log_propensities=np.full(n, -1.0))

def in_no_order(view, n, rng):
    return Picks(np.arange(n), np.zeros(n), np.zeros(n), set_log_propensity=-1.0)

def shared(view, n, rng):
    return replace(gumbel_top_k(view.age, n, rng, view.temperature, view.floor), choosers=np.full(n, "me"))

def listed(view, n, rng):
    return Picks(list(range(n)), [0.0] * n, [0.0] * n, choosers=["auto"] * n)

def broken(view, n, rng):
    return view.no_such_thing

number = 7
'''
