"""An officer who answers over HTTP, without a browser, whatever becomes of the console."""

import random
import re
import threading
import time
from typing import NamedTuple

from httpx2 import TransportError

from tests.apps.console.support import Browser


class Answer(NamedTuple):
    """What the officer says to an alert."""

    alert: str
    lease: str
    code: int


class Officer(threading.Thread):
    """Answers as long as nobody stops it, whether the console is there or not."""

    def __init__(self, browser: Browser, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.sent: list[Answer] = []
        self.done: list[Answer] = []
        self.looked: list[Answer] = []
        """Second looks of which the page said that they are kept."""
        self.interrupted = 0
        self._browser = browser
        self._csrf = browser.csrf("/password")
        self._chance = chance
        self._ending = threading.Event()

    def run(self) -> None:
        page, asked = "", None
        while not self._ending.is_set():
            try:
                if 'name="lease"' not in page:
                    page = self._post("/desk/pick")
                    self._hear(page, asked)
                    asked = None
                if (answer := self._decide(page)) is not None:
                    self.sent.append(asked := answer)
                    page = self._post("/desk/answer", lease=answer.lease, code=str(answer.code))
                    self._hear(page, asked)
                    asked = None
            except TransportError:
                self.interrupted += asked is not None and page != ""
                page = ""
                time.sleep(0.02)

    def stop(self) -> None:
        """Finish what is under way."""
        if not self.is_alive():
            raise RuntimeError("the officer has ended before")
        self._ending.set()
        self.join()
        self._browser.close()

    def _post(self, path: str, **form: str) -> str:
        answer = self._browser.client.post(path, data={"csrf": self._csrf, "order": "oldest", **form})
        assert answer.status_code == 200, answer.text
        return answer.text

    def _hear(self, page: str, asked: Answer | None) -> None:
        note = re.search(r'role="status">([^<]*)<', page)
        assert note is not None, page
        if asked is not None and note[1].startswith("Done: "):
            self.done.append(asked)
        if asked is not None and note[1].startswith("Kept as a second look: "):
            self.looked.append(asked)

    def _decide(self, page: str) -> Answer | None:
        lease = re.search(r'name="lease" value="([^"]+)"', page)
        about = re.search(r'data-message="([^"]+)"', page)
        return Answer(about[1], lease[1], self._chance.randrange(100)) if lease and about else None
