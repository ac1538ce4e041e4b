/* A line echo in C for the sanitizers: native PORT DEFECT.

   A thread per connection; SIGTERM ends it with 0. The defects are `address` (writes behind an
   allocated block), `thread` (two threads add to a number without a lock), `undefined` (a sum that
   overflows) and `none`. */

#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *defect;
static long count;
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

static int is(const char *name) { return strcmp(defect, name) == 0; }

static void count_one(void) {
    if (is("thread")) {
        count++;
        return;
    }
    pthread_mutex_lock(&counting);
    count++;
    pthread_mutex_unlock(&counting);
}

static void *serve(void *given) {
    int peer = (int)(long)given;
    volatile int sum = INT_MAX - 1;
    for (;;) {
        char *block = malloc(4096);
        ssize_t size = read(peer, block, 4096);
        if (size <= 0 || write(peer, block, (size_t)size) != size) {
            free(block);
            break;
        }
        count_one();
        if (is("address")) {
            volatile int behind = 4096;
            block[behind] = 'x';
        }
        if (is("undefined")) {
            sum = sum + (int)size;
        }
        free(block);
    }
    close(peer);
    return NULL;
}

static void *end_on_sigterm(void *given) {
    int number;
    sigwait((sigset_t *)given, &number);
    exit(0);
}

int main(int argc, char **argv) {
    (void)argc;
    defect = argv[2];
    static sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, end_on_sigterm, &signals);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 100)) {
        perror("native");
        return 1;
    }
    puts("serving");
    fflush(stdout);
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer >= 0 && pthread_create(&thread, NULL, serve, (void *)(long)peer) == 0) {
            pthread_detach(thread);
        }
    }
}
