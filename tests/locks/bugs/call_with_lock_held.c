/* source: https://github.com/grpc/grpc/pull/20950
 * hang: stall with --stall 500ms, repaired: nothing
 * A thread makes a call while it holds a lock, and waits on a condition for the result. The
 * callback wants the lock before it reports. A watchdog ends the program. */
#include "bugs.h"
MUTEX(users);
MUTEX(reply);
static pthread_cond_t replied = PTHREAD_COND_INITIALIZER;
static int is_replied;
static void on_reply(void) {
    LOCK(users); UNLOCK(users);
    LOCK(reply); is_replied = 1; pthread_cond_signal(&replied); UNLOCK(reply);
}
THREAD(calls) {
    LOCK(users); meet();
    if (repaired) UNLOCK(users);
    LOCK(reply);
    while (hangs && !is_replied) pthread_cond_wait(&replied, &reply);
    UNLOCK(reply);
    if (!repaired) UNLOCK(users);
    return unused;
}
THREAD(serves) { meet(); on_reply(); return unused; }
THREAD(watchdog) { meet(); if (hangs) { sleep(4); _exit(0); } return unused; }
PROGRAM(calls, serves, watchdog)
