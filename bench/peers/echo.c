/*
 * The ceiling: what the system calls alone cost. Receives up to 64 datagrams with one call, sets QR in
 * each, sends all back with another. What a server of the same two calls spends more is its own.
 *
 * usage: echo PORT     (127.0.0.1)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, OCTETS = 2048, BUFFER = 8 * 1024 * 1024 };

static unsigned char octets[BATCH][OCTETS];
static struct sockaddr_in peers[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];

int main(int count, char **arguments) {
  if (count != 2) return 2;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int size = BUFFER;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) {
    perror("bind");
    return 1;
  }
  for (int i = 0; i < BATCH; i += 1) {
    vectors[i].iov_base = octets[i];
    messages[i].msg_hdr.msg_name = &peers[i];
    messages[i].msg_hdr.msg_namelen = sizeof peers[i];
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    for (int i = 0; i < BATCH; i += 1) vectors[i].iov_len = OCTETS;
    int received = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < received; i += 1) {
      octets[i][2] |= 0x80;
      vectors[i].iov_len = messages[i].msg_len;
    }
    for (int done = 0; done < received;) {
      int sent = sendmmsg(fd, messages + done, received - done, 0);
      done += sent > 0 ? sent : 1;
    }
  }
}
