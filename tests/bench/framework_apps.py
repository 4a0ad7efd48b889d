"""The applications of frameworks that every server is loaded with, named in `scenarios.py`: what people really run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

_FOLDER = Path(os.environ["BENCH_FOLDER"])

ITEM: dict[str, Any] = {"id": 42, "name": "Kettle", "price": 39.5, "tags": ["kitchen", "electric"], "stock": 7}


async def _item(request: Request) -> JSONResponse:
    return JSONResponse(ITEM)


async def _file(request: Request) -> FileResponse:
    return FileResponse(_FOLDER / request.path_params["name"])


starlette = Starlette(routes=[Route("/item", _item), Route("/files/{name}", _file)])


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]
    stock: int


fastapi = FastAPI(openapi_url=None)


@fastapi.get("/item")
async def item() -> Item:
    return Item(**ITEM)
