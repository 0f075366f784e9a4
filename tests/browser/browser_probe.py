"""Opens a page in a browser and reads it: ``python browser_probe.py PATH_OF_CHROMIUM``.

A process of its own: where a browser cannot work (some containers), it does not always say so, it may wait for ever.
"""

from __future__ import annotations

import sys

from playwright.sync_api import sync_playwright

# In containers Chromium has no sandbox of its own to use, and little shared memory.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]

if __name__ == "__main__":
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=sys.argv[1], args=ARGUMENTS)
        page = browser.new_page()
        page.goto("data:text/html,<title>works</title>")
        page.screenshot()
        print(page.title())
        browser.close()
