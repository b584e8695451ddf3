import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { findMount, findMountEntry } from "./mount.js";

const MOUNTINFO = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:30 / /data rw,nosuid shared:5 - tmpfs tmpfs rw,size=4k
29 28 8:1 / /data rw,noatime shared:6 master:2 - xfs /dev/sda1 rw,attr2
30 27 0:31 / /data/with\\040space rw - overlay overlay rw,lowerdir=/a
31 27 0:32 / /database rw - nfs4 server:/x rw`;

describe("findMountEntry", () => {
  it.each([
    ["/home/user", "ext4", "/"],
    ["/", "ext4", "/"],
    // The later mount covers the earlier one.
    ["/data/x", "xfs", "/data"],
    ["/data", "xfs", "/data"],
    ["/data/with space/x", "overlay", "/data/with space"],
    // A common prefix is no common directory.
    ["/database/x", "nfs4", "/database"],
    ["/data2", "ext4", "/"],
  ])("finds what %s lies on", (path, type, mountPoint) => {
    expect(findMountEntry(MOUNTINFO, path)).toMatchObject({ type, mountPoint });
  });

  it("joins the options of the mount and of the filesystem", () => {
    expect(findMountEntry(MOUNTINFO, "/data")!.options).toBe("rw,noatime,attr2");
  });

  it("is null without an entry", () => {
    expect(findMountEntry("", "/x")).toBe(null);
  });
});

describe("findMount", () => {
  it("tells of a real directory", async () => {
    const mount = await findMount(tmpdir());
    expect(mount.type).toMatch(/./);
    expect(mount.freeBytes).toBeGreaterThan(0);
    expect(mount.sizeBytes).toBeGreaterThanOrEqual(mount.freeBytes);
  });
});
