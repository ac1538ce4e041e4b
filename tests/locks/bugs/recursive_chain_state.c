/* source: https://github.com/DeFiCh/ain/issues/368
 * order: inversion, hang: deadlock, repaired: nothing
 * Recursive mutexes of a node are taken more than once, and in two orders. */
#define _GNU_SOURCE
#include "bugs.h"
static pthread_mutex_t chain = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t wallet = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
THREAD(connects_block) {
    LOCK(chain); LOCK(chain); meet(); LOCK(wallet);
    UNLOCK(wallet); UNLOCK(chain); UNLOCK(chain);
    return unused;
}
THREAD(sends) {
    if (repaired) LOCK(chain);
    LOCK(wallet); meet(); LOCK(chain);
    UNLOCK(chain); UNLOCK(wallet);
    if (repaired) UNLOCK(chain);
    return unused;
}
PROGRAM(connects_block, sends)
