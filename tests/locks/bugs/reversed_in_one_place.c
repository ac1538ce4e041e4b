/* source: https://github.com/tangent-opensource/coreBlackbird/pull/19
 * order: inversion, hang: deadlock, repaired: nothing
 * All places except one take the scene's mutex before the renderer's mutex. */
#include "bugs.h"
MUTEX(scene);
MUTEX(renderer);
static void both(pthread_mutex_t *outer, pthread_mutex_t *inner) {
    LOCK(*outer); meet(); LOCK(*inner); UNLOCK(*inner); UNLOCK(*outer);
}
THREAD(updates) { both(&scene, &renderer); return unused; }
THREAD(renders) { repaired ? both(&scene, &renderer) : both(&renderer, &scene); return unused; }
PROGRAM(updates, renders)
