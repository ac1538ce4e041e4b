/* A load on memcached: a request in flight on each connection, one in ten a `set`, the others `get`.
 *
 *     memcached_load PORT CONNECTIONS SECONDS
 *
 * Keys are drawn from 10,000, values have 100 bytes. Every answer is looked at; a wrong one ends the
 * program with 1. Prints the operations, the moments of CLOCK_MONOTONIC between which they were, and
 * the CPU time of this program itself, in nanoseconds; then the operations again, with those that set
 * all keys beforehand. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 10000, VALUE_BYTES = 100, CONNECTIONS_MAX = 512 };

struct connection {
    int socket;
    int key;
    int is_set;
    size_t got;
    char answer[512];
};

static struct connection connections[CONNECTIONS_MAX];
static unsigned long long state = 88172645463325252ULL;

static unsigned draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 32);
}

static long long nanoseconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "memcached_load: %s\n", what);
    exit(1);
}

static void ask(struct connection *it, int key, int is_set) {
    char request[256];
    int bytes;
    it->key = key;
    it->is_set = is_set;
    it->got = 0;
    if (is_set)
        bytes = sprintf(request, "set key%d 0 0 %d\r\n%0*d\r\n", key, VALUE_BYTES, VALUE_BYTES, key);
    else
        bytes = sprintf(request, "get key%d\r\n", key);
    if (write(it->socket, request, bytes) != bytes) fail("a request could not be sent");
}

/* Whether the answer is whole; a wrong one ends the program. */
static int is_answered(struct connection *it) {
    ssize_t bytes = read(it->socket, it->answer + it->got, sizeof it->answer - it->got);
    if (bytes <= 0) fail("the server closed a connection");
    it->got += (size_t)bytes;
    char expected[256];
    int whole;
    if (it->is_set)
        whole = sprintf(expected, "STORED\r\n");
    else
        whole = sprintf(expected, "VALUE key%d 0 %d\r\n%0*d\r\nEND\r\n", it->key, VALUE_BYTES,
                        VALUE_BYTES, it->key);
    if (it->got < (size_t)whole) return 0;
    if (it->got > (size_t)whole || memcmp(it->answer, expected, whole)) fail("a wrong answer");
    return 1;
}

static void open_connection(struct connection *it, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1;
    it->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(it->socket, (struct sockaddr *)&address, sizeof address)) fail("no connection");
    setsockopt(it->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

int main(int arguments, char **words) {
    if (arguments != 4) return 2;
    int count = atoi(words[2]);
    long long length = (long long)(atof(words[3]) * 1e9);
    if (count < 1 || count > CONNECTIONS_MAX) return 2;
    int poll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        open_connection(&connections[i], atoi(words[1]));
        epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].socket, &event);
    }
    for (int key = 0; key < KEYS; key++) {
        ask(&connections[0], key, 1);
        while (!is_answered(&connections[0])) continue;
    }
    long done = 0;
    long long used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    long long began = nanoseconds(CLOCK_MONOTONIC), now = began;
    for (int i = 0; i < count; i++) ask(&connections[i], draw() % KEYS, draw() % 10 == 0);
    while (now < began + length) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, 1000);
        if (ready == 0) fail("no answer for a second");
        for (int i = 0; i < ready; i++) {
            struct connection *it = events[i].data.ptr;
            if (!is_answered(it)) continue;
            done++;
            ask(it, draw() % KEYS, draw() % 10 == 0);
        }
        now = nanoseconds(CLOCK_MONOTONIC);
    }
    used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - used;
    printf("%ld %lld %lld %lld %ld\n", done, began, now, used, done + KEYS);
    return 0;
}
