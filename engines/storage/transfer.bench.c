/*
 * The sender that transfer.bench.ts compares Node with: the same calls on the same socket from C.
 *
 *   sender unix|tcp ADDRESS sendfile|mmap|copy CHUNK_BYTES TOTAL_BYTES FILE
 *
 * Sends the file's chunks in turn until TOTAL_BYTES went out, ends its side, waits for the receiver's byte, and prints
 * nanoseconds passed and nanoseconds of CPU, user and system.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static long long clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long cpu_ns(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

static int connect_to(const char *kind, const char *address) {
  int fd;
  if (strcmp(kind, "unix") == 0) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, address, sizeof name.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) fail("connect");
  } else {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(address))};
    int on = 1;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  int socket_fd = connect_to(argv[1], argv[2]);
  char path = argv[3][0];
  long chunk = atol(argv[4]), total = atol(argv[5]);
  int fd = open(argv[6], O_RDONLY);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail(argv[6]);
  char *buffer = malloc(chunk), *mapped = mmap(0, status.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) fail("mmap");

  long long started = clock_ns(), cpu_before = cpu_ns();
  long position = 0;
  for (long sent = 0; sent < total; sent += chunk) {
    long end = position + chunk;
    while (position < end) {
      ssize_t moved;
      if (path == 's') {
        off_t at = position;
        moved = sendfile(socket_fd, fd, &at, end - position);
      } else if (path == 'm') {
        moved = write(socket_fd, mapped + position, end - position);
      } else {
        ssize_t got = pread(fd, buffer, end - position, position);
        moved = got <= 0 ? got : write(socket_fd, buffer, got);
      }
      if (moved <= 0) fail("transfer");
      position += moved;
    }
    if (position + chunk > status.st_size) position = 0;
  }
  char done;
  shutdown(socket_fd, SHUT_WR);
  if (read(socket_fd, &done, 1) != 1) fail("read");
  printf("%lld %lld\n", clock_ns() - started, cpu_ns() - cpu_before);
  return 0;
}
