/* expect: nothing
 * The accounts and tables of a bank are locked in any order, under the lock of the bank. */
#include "classes.h"

static void *account_first(void *unused) {
    pthread_mutex_lock(&banks[0].lock);
    both(&accounts[0].lock, &tables[0].lock);
    pthread_mutex_unlock(&banks[0].lock);
    return unused;
}
static void *table_first(void *unused) {
    pthread_mutex_lock(&banks[1].lock);
    both(&tables[1].lock, &accounts[1].lock);
    pthread_mutex_unlock(&banks[1].lock);
    return unused;
}

int main(void) {
    open_all();
    run(2, (void *(*[])(void *)){account_first, table_first});
    return 0;
}
