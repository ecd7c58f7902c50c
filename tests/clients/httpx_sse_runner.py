"""`httpx-sse` with httpx's asynchronous client."""

import os
import ssl
import threading

from protocol import headers_of, hear, jobs, tell

# example
import asyncio

import httpx
from httpx_sse import aconnect_sse


async def follow(client, connect, on_event):
    """`connect` gives URL and headers, anew for each connection. Returns when all is over."""
    cursor, retry = "", 3.0
    while True:
        url, headers = await connect()
        if cursor:
            headers["Last-Event-ID"] = cursor
        try:
            async with aconnect_sse(client, "GET", url, headers=headers) as source:
                answer = source.response
                if answer.status_code == 204:
                    return
                if answer.is_error and "Retry-After" not in answer.headers:
                    answer.raise_for_status()
                if answer.is_error:
                    retry = float(answer.headers["Retry-After"])
                else:
                    async for event in source.aiter_sse():
                        on_event(event)
                        cursor = event.id
                        if event.retry is not None:
                            retry = event.retry / 1000
        except httpx.TransportError:
            pass  # Cut: an unfinished event is not told.
        await asyncio.sleep(retry)


def client():
    """By itself httpx gives up after five seconds without a byte; heartbeats come that often."""
    return httpx.AsyncClient(timeout=httpx.Timeout(10, read=60), http2=True)
# end of the example


def trusting():
    """The same with the certificate of the tests."""
    context = ssl.create_default_context(cafile=os.environ["CHATMUX_CA"])
    return httpx.AsyncClient(timeout=httpx.Timeout(10, read=60), http2=True, verify=context)


async def alone(http, job):
    """The library without a loop around it."""
    headers = headers_of(job)
    async with aconnect_sse(http, job["method"], job["url"], headers=headers) as source:
        async for event in source.aiter_sse():
            hear(job, event)


async def run(job):
    """One job, to its end."""

    async def connect():
        if not job["ticket"]:
            return job["url"], headers_of(job)
        answer = await http.post(job["ticket"]["url"], headers=job["ticket"]["headers"])
        return f"{job['url']}&ticket={answer.json()['ticket']}", {}

    async with trusting() if job["url"].startswith("https:") else client() as http:
        try:
            if job["stay"]:
                await follow(http, connect, lambda event: hear(job, event))
            else:
                await alone(http, job)
            tell(job, "over", why="ends")
        except Exception as error:
            tell(job, "over", why=f"raises {type(error).__name__}")


async def main():
    loop, over, tasks = asyncio.get_running_loop(), asyncio.Event(), set()

    def read():
        for job in jobs():
            loop.call_soon_threadsafe(lambda job=job: tasks.add(asyncio.create_task(run(job))))
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=read, daemon=True).start()
    await over.wait()


asyncio.run(main())
