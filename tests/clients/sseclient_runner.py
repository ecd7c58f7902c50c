"""`sseclient-py` over requests."""

import threading

from protocol import headers_of, hear, jobs, tell

# example
import time

import requests
import sseclient


def follow(connect, on_event):
    """`connect` gives URL and headers, anew for each connection. Returns when all is over."""
    cursor, retry = "", 3.0
    while True:
        url, headers = connect()
        headers["Accept"] = "text/event-stream"
        if cursor:
            headers["Last-Event-ID"] = cursor
        try:
            with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
                if answer.status_code == 204:
                    return
                if not answer.ok and "Retry-After" not in answer.headers:
                    answer.raise_for_status()
                if not answer.ok:
                    retry = float(answer.headers["Retry-After"])
                else:
                    for event in sseclient.SSEClient(answer).events():
                        on_event(event)
                        cursor = event.id or cursor
                        if event.retry:
                            retry = int(event.retry) / 1000
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            pass  # Cut: an unfinished event is not told.
        time.sleep(retry)
# end of the example


def alone(job):
    """The library without a loop around it."""
    ask = {"headers": headers_of(job), "stream": True}
    with requests.request(job["method"], job["url"], **ask) as answer:
        for event in sseclient.SSEClient(answer).events():
            hear(job, event)


def run(job):
    """One job, to its end."""

    def connect():
        if not job["ticket"]:
            return job["url"], headers_of(job)
        answer = requests.post(job["ticket"]["url"], headers=job["ticket"]["headers"], timeout=60)
        return f"{job['url']}&ticket={answer.json()['ticket']}", {}

    try:
        if job["stay"]:
            follow(connect, lambda event: hear(job, event))
        else:
            alone(job)
        tell(job, "over", why="ends")
    except Exception as error:
        tell(job, "over", why=f"raises {type(error).__name__}")


for job in jobs():
    threading.Thread(target=run, args=(job,), daemon=True).start()
