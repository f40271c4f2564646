"""Chromium without a window, for the tests that look at pages: they are skipped where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--window-size=1280,900",
)  # fmt: skip

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver here; on Debian: apt-get install chromium-driver"
)


def start(tmp_path_factory):
    """A browser with a fresh profile, whose logs are recorded; the caller quits it."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is of the dev extra")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(
        DRIVER, log_output=subprocess.DEVNULL, env={**os.environ, "HOME": str(tmp_path_factory.mktemp("home"))}
    )
    return webdriver.Chrome(options, service)


def size(browser, width, height, phone=False):
    view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
