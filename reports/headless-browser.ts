/** A real browser for tests of pages, from a package: nothing is downloaded, nothing need be installed. */

import chromium from "@sparticuz/chromium";
import { type Browser, type BrowserContextOptions, chromium as launcher, type Page } from "playwright-core";

/** Why no browser starts on this machine, in one line; null if one does. */
export async function browserProblem(): Promise<string | null> {
  try {
    await (await launch()).close();
    return null;
  } catch (error) {
    return `no headless browser starts here (${(error as Error).message.split("\n", 1)[0]})`;
  }
}

export interface OpenPage {
  page: Page;
  browser: Browser;
  /** Every address that the page asked for. */
  requests: string[];
  /** Errors and warnings of the console, uncaught errors, dialogs. */
  complaints: string[];
}

/** Opens an address in a browser of its own, which the caller closes: the package's single process ends with a context. */
export async function openPage(address: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
  const browser = await launch();
  const page = await (await browser.newContext(options)).newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(address);
  return { page, browser, requests, complaints };
}

async function launch(): Promise<Browser> {
  return launcher.launch({ executablePath: await chromium.executablePath(), args: chromium.args, headless: true });
}
