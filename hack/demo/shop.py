"""The shop behind the quickstart's questions: three tables and the rows that make wrong queries visible.

Everything is drawn from one seed, so the file examples/quickstart/schema.sql is the same on every machine.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Final

CUSTOMERS: Final = 360
PRODUCTS: Final = 180
ORDERS: Final = 900
AGES: Final = range(20, 60)
PRICES: Final = range(10, 60)
STOCKS: Final = range(2, 52)
QUANTITIES: Final = range(1, 41)

CITIES: Final = (
    "Athens", "Berlin", "Bruges", "Dublin", "Geneva", "Krakow", "Lisbon", "Malaga", "Oslo", "Porto", "Turin", "Vienna",
)  # fmt: skip
CATEGORIES: Final = ("Bathroom", "Bedroom", "Garden", "Kitchen", "Office", "Workshop")
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
FIRST_NAMES: Final = (
    "Ada", "Ben", "Carla", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Klara", "Leon",
    "Maria", "Nils", "Olga", "Paul", "Rosa", "Simon", "Tara", "Victor",
)  # fmt: skip
LAST_NAMES: Final = (
    "Adler", "Bauer", "Costa", "Duarte", "Ekman", "Fischer", "Garcia", "Hansen", "Ivanov", "Jansen", "Keller", "Lopez",
    "Moretti", "Novak", "Olsen", "Peters", "Rossi", "Silva", "Torres", "Weber",
)  # fmt: skip
MATERIALS: Final = (
    "Bamboo", "Brass", "Cedar", "Copper", "Cotton", "Glass", "Granite", "Leather",
    "Linen", "Marble", "Oak", "Pine", "Steel", "Velvet", "Walnut", "Wool",
)  # fmt: skip
ARTICLES: Final = (
    "Basket", "Bench", "Bowl", "Box", "Chair", "Clock", "Cushion", "Desk",
    "Frame", "Lamp", "Mat", "Mirror", "Rack", "Shelf", "Stool", "Table",
)  # fmt: skip

TABLES: Final = """\
CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  city TEXT NOT NULL,
  age INTEGER NOT NULL
);
CREATE TABLE products (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  category TEXT NOT NULL,
  price INTEGER NOT NULL,
  stock INTEGER NOT NULL
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  product_id INTEGER NOT NULL REFERENCES products (id),
  quantity INTEGER NOT NULL,
  month TEXT NOT NULL
);
"""

Row = tuple[int | str, ...]


def schema_sql(seed: int) -> str:
    """Return the tables and their rows as one SQLite script."""
    draw = random.Random(seed)
    people = _names(draw, FIRST_NAMES, LAST_NAMES, CUSTOMERS)
    goods = _names(draw, MATERIALS, ARTICLES, PRODUCTS)
    customers = [
        (number, name, draw.choice(CITIES), draw.choice(AGES)) for number, name in enumerate(people, start=1)
    ]
    products = [
        (number, name, draw.choice(CATEGORIES), draw.choice(PRICES), draw.choice(STOCKS))
        for number, name in enumerate(goods, start=1)
    ]
    orders = [
        (
            number,
            draw.randint(1, CUSTOMERS),
            draw.randint(1, PRODUCTS),
            draw.choice(QUANTITIES),
            draw.choice(MONTHS),
        )
        for number in range(1, ORDERS + 1)
    ]
    inserts = [_insert("customers", customers), _insert("products", products), _insert("orders", orders)]
    return "\n".join([TABLES, *inserts])


def _names(draw: random.Random, first: Sequence[str], second: Sequence[str], count: int) -> list[str]:
    pairs = [f"{one} {two}" for one, two in itertools.product(first, second)]
    return draw.sample(pairs, count)


def _insert(table: str, rows: Iterable[Row]) -> str:
    values = ",\n".join("  (" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    return f"INSERT INTO {table} VALUES\n{values};\n"


def _literal(value: int | str) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)
