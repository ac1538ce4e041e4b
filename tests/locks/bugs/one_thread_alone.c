/* source: https://github.com/google/sanitizers/issues/488
 * order: information
 * One thread takes two locks in both orders. The other threads take one lock at a time. */
#include "bugs.h"
MUTEX(first);
MUTEX(second);
THREAD(takes_both) {
    LOCK(first); LOCK(second); UNLOCK(first);
    LOCK(first); UNLOCK(first); UNLOCK(second);
    return unused;
}
THREAD(takes_one) { LOCK(first); UNLOCK(first); LOCK(second); UNLOCK(second); return unused; }
PROGRAM(takes_both, takes_one)
