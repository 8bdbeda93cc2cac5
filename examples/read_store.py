#!/usr/bin/env python3
"""Prints the front of a store: any program that reads SQLite can.

Usage: read_store.py results.db
"""

import sqlite3
import sys

store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
store.row_factory = sqlite3.Row
for row in store.execute("select * from pareto order by cost_kind, cost"):
    print(dict(row))
