"""The questions that can be asked about the shop, each with the query that answers it.

A question is put together from a frame ("How many customers {} do we have?") and one or two filters ("from Oslo",
"older than 41"), the query from the same parts, so that both always mean the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hack.demo import shop
from hack.demo.query import Filter, Operator, Query, Value

Drawn = Callable[[random.Random], Value]


@dataclass(frozen=True)
class Condition:
    """A kind of filter: its column and operator, where its value comes from, and how people say it."""

    column: str
    operator: Operator
    drawn: Drawn
    phrases: tuple[str, ...]
    join: str = ""


@dataclass(frozen=True)
class Subject:
    """What is asked about: a table and the conditions that its rows can have."""

    table: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Frame:
    """A way to ask: what is selected, and the sentences that ask for it."""

    subject: Subject
    select: str
    sentences: tuple[str, ...]
    group_by: str | None = None
    order_by: str | None = None
    descending: bool = False
    limits: range | None = None
    filters: tuple[int, ...] = (1, 2)


def draw(frame: Frame, random_: random.Random) -> tuple[str, Query]:
    """Return a question of this frame with drawn filters, and its query."""
    usable = [one for one in frame.subject.conditions if one.column != frame.group_by]
    conditions = _distinct_columns(usable, random_.choice(frame.filters), random_)
    filters, phrases = [], []
    for condition in conditions:
        value = condition.drawn(random_)
        filters.append(Filter(condition.column, condition.operator, value))
        phrases.append(random_.choice(condition.phrases).format(value))
    limit = random_.choice(frame.limits) if frame.limits else None
    question = random_.choice(frame.sentences).format(filters=" and ".join(phrases), limit=limit)
    source = frame.subject.table + "".join(dict.fromkeys(one.join for one in conditions))
    query = Query(
        frame.select, source, tuple(filters), frame.group_by, frame.order_by, frame.descending, limit
    )
    return question, query


def _distinct_columns(conditions: Sequence[Condition], count: int, random_: random.Random) -> list[Condition]:
    """Draw conditions on different columns, in the order in which the question names them."""
    by_column: dict[str, list[Condition]] = {}
    for one in conditions:
        by_column.setdefault(one.column, []).append(one)
    columns = random_.sample(list(by_column), min(count, len(by_column)))
    return [random_.choice(by_column[column]) for column in columns]


def _one_of(pool: Sequence[Value]) -> Drawn:
    return lambda random_: random_.choice(pool)


def _pair(first: Sequence[str], second: Sequence[str]) -> Drawn:
    return lambda random_: f"{random_.choice(first)} {random_.choice(second)}"


_ITS_CUSTOMER: Final = " JOIN customers ON customers.id = customer_id"
_ITS_PRODUCT: Final = " JOIN products ON products.id = product_id"

_CUSTOMERS: Final = Subject(
    "customers",
    (
        Condition("city", "=", _one_of(shop.CITIES), ("from {}", "living in {}", "based in {}")),
        Condition("age", ">", _one_of(shop.AGES), ("older than {}", "over {}", "above the age of {}")),
        Condition("age", "<", _one_of(shop.AGES), ("younger than {}", "under {}", "below the age of {}")),
        Condition("age", ">=", _one_of(shop.AGES), ("at least {} years old", "aged {} or more")),
        Condition("age", "<=", _one_of(shop.AGES), ("at most {} years old", "aged {} or less")),
    ),
)
_PRODUCTS: Final = Subject(
    "products",
    (
        Condition("category", "=", _one_of(shop.CATEGORIES), ("in the {} category", "from the {} range")),
        Condition(
            "price", ">", _one_of(shop.PRICES), ("priced above {}", "costing more than {}", "over {} euros")
        ),
        Condition(
            "price", "<", _one_of(shop.PRICES), ("priced below {}", "costing less than {}", "under {} euros")
        ),
        Condition("price", ">=", _one_of(shop.PRICES), ("costing at least {}", "for {} euros or more")),
        Condition("price", "<=", _one_of(shop.PRICES), ("costing at most {}", "for {} euros or less")),
        Condition(
            "stock", ">", _one_of(shop.STOCKS), ("with more than {} in stock", "with a stock above {}")
        ),
        Condition(
            "stock", "<", _one_of(shop.STOCKS), ("with fewer than {} in stock", "with a stock below {}")
        ),
    ),
)
_MONTH: Final = Condition("month", "=", _one_of(shop.MONTHS), ("in {}", "during {}"))
_CITY: Final = Condition(
    "city", "=", _one_of(shop.CITIES), ("by customers from {}", "for customers living in {}"), _ITS_CUSTOMER
)
_CATEGORY: Final = Condition(
    "category", "=", _one_of(shop.CATEGORIES), ("of {} products", "from the {} range"), _ITS_PRODUCT
)
_LARGE: Final = Condition(
    "quantity", ">", _one_of(shop.QUANTITIES), ("of more than {} pieces", "with a quantity above {}")
)
_SMALL: Final = Condition(
    "quantity", "<", _one_of(shop.QUANTITIES), ("of fewer than {} pieces", "with a quantity below {}")
)
_ORDERS: Final = Subject("orders", (_MONTH, _CITY, _CATEGORY, _LARGE, _SMALL))
_ONE_CUSTOMER: Final = Subject(
    "customers", (Condition("name", "=", _pair(shop.FIRST_NAMES, shop.LAST_NAMES), ("{}",)),)
)
_ONE_PRODUCT: Final = Subject(
    "products", (Condition("name", "=", _pair(shop.MATERIALS, shop.ARTICLES), ("{}",)),)
)
_BUYER: Final = Subject(
    "orders" + _ITS_CUSTOMER + _ITS_PRODUCT,
    (Condition("customers.name", "=", _pair(shop.FIRST_NAMES, shop.LAST_NAMES), ("{}",)),),
)
_BOUGHT: Final = Subject(
    "orders" + _ITS_CUSTOMER + _ITS_PRODUCT,
    (Condition("products.name", "=", _pair(shop.MATERIALS, shop.ARTICLES), ("{}",)),),
)

FRAMES: Final = (
    Frame(
        _CUSTOMERS,
        "name",
        (
            "List the customers {filters}.",
            "Show me all customers {filters}.",
            "Who are the customers {filters}?",
            "Give me the names of customers {filters}.",
        ),
    ),
    Frame(
        _CUSTOMERS,
        "COUNT(*)",
        (
            "How many customers {filters} do we have?",
            "Count the customers {filters}.",
            "What is the number of customers {filters}?",
        ),
    ),
    Frame(
        _CUSTOMERS,
        "AVG(age)",
        (
            "What is the average age of customers {filters}?",
            "Tell me the mean age of the customers {filters}.",
            "How old on average are customers {filters}?",
        ),
    ),
    Frame(
        _CUSTOMERS,
        "name",
        (
            "List the customers {filters} in alphabetical order.",
            "Show the customers {filters} sorted by name.",
        ),
        order_by="name",
    ),
    Frame(
        _CUSTOMERS,
        "name",
        (
            "Who are the {limit} oldest customers {filters}?",
            "Name the {limit} oldest of the customers {filters}.",
        ),
        order_by="age",
        descending=True,
        limits=range(2, 10),
    ),
    Frame(
        _CUSTOMERS,
        "name",
        (
            "Who are the {limit} youngest customers {filters}?",
            "Name the {limit} youngest of the customers {filters}.",
        ),
        order_by="age",
        limits=range(2, 10),
    ),
    Frame(
        _CUSTOMERS,
        "city, COUNT(*)",
        (
            "How many customers {filters} live in each city?",
            "Count the customers {filters} per city.",
        ),
        group_by="city",
    ),
    Frame(
        _PRODUCTS,
        "name",
        (
            "List the products {filters}.",
            "Show me all products {filters}.",
            "What are the products {filters}?",
            "Give me the names of products {filters}.",
        ),
    ),
    Frame(
        _PRODUCTS,
        "COUNT(*)",
        (
            "How many products {filters} do we have?",
            "Count the products {filters}.",
            "What is the number of products {filters}?",
        ),
    ),
    Frame(
        _PRODUCTS,
        "AVG(price)",
        (
            "What is the average price of products {filters}?",
            "Tell me the mean price of the products {filters}.",
            "How expensive on average are products {filters}?",
        ),
    ),
    Frame(
        _PRODUCTS,
        "SUM(stock)",
        (
            "What is the total stock of products {filters}?",
            "How many pieces of products {filters} are there altogether?",
        ),
    ),
    Frame(
        _PRODUCTS,
        "name",
        (
            "What are the {limit} cheapest products {filters}?",
            "Name the {limit} cheapest of the products {filters}.",
        ),
        order_by="price",
        limits=range(2, 10),
    ),
    Frame(
        _PRODUCTS,
        "name",
        (
            "What are the {limit} most expensive products {filters}?",
            "Name the {limit} most expensive of the products {filters}.",
        ),
        order_by="price",
        descending=True,
        limits=range(2, 10),
    ),
    Frame(
        _PRODUCTS,
        "category, COUNT(*)",
        ("How many products {filters} are in each category?", "Count the products {filters} per category."),
        group_by="category",
    ),
    Frame(
        _ORDERS,
        "COUNT(*)",
        (
            "How many orders {filters} were there?",
            "Count the orders {filters}.",
            "What is the number of orders {filters}?",
        ),
    ),
    Frame(
        _ORDERS,
        "SUM(quantity)",
        (
            "How many pieces were sold in orders {filters}?",
            "What is the total quantity of orders {filters}?",
        ),
    ),
    Frame(_ONE_CUSTOMER, "age", ("How old is {filters}?", "What is the age of {filters}?"), filters=(1,)),
    Frame(
        _ONE_CUSTOMER,
        "city, age",
        (
            "Where does {filters} live and how old is that person?",
            "Give me the city and the age of {filters}.",
        ),
        filters=(1,),
    ),
    Frame(
        _ONE_PRODUCT,
        "price",
        ("How much does the {filters} cost?", "What is the price of the {filters}?"),
        filters=(1,),
    ),
    Frame(
        _ONE_PRODUCT,
        "price, stock",
        (
            "What is the price of the {filters} and how many are in stock?",
            "Give me the price and the stock of the {filters}.",
        ),
        filters=(1,),
    ),
    Frame(
        _BUYER,
        "products.name, quantity",
        (
            "What did {filters} order and how many pieces?",
            "List the products and quantities ordered by {filters}.",
        ),
        filters=(1,),
    ),
    Frame(
        _BOUGHT,
        "customers.name, month",
        ("Who ordered the {filters} and in which month?", "List the buyers of the {filters} with the month."),
        filters=(1,),
    ),
)
