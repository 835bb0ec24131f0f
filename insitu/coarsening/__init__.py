"""Coarsening statistics: from the tables of a run to kinetics, distributions, growth, rates, each with its uncertainty.

The tables are handed in (`source.Tables`); what is computed, in which unit and from which formula stands in `columns`
and in ``docs/coarsening.md``. Everything here is numpy, scipy and pandas, and opens no file.
"""
