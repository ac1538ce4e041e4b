/* expect: information
 * A transfer locks two accounts, first the one that pays: there is no fixed order. */
#include "classes.h"

static void *pays(void *unused) { both(&accounts[0].lock, &accounts[1].lock); return unused; }
static void *is_paid(void *unused) { both(&accounts[3].lock, &accounts[1].lock); return unused; }
static void *lends(void *unused) { both(&accounts[3].lock, &accounts[0].lock); return unused; }

int main(void) {
    open_all();
    run(3, (void *(*[])(void *)){pays, is_paid, lends});
    return 0;
}
