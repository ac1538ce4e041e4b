/* Locks that are made at few places, so that they form classes. */
#include "common.h"

struct bank { pthread_mutex_t lock; };
struct account { pthread_mutex_t lock; };
struct table { pthread_mutex_t lock; };
static struct bank banks[2];
static struct account accounts[4];
static struct table tables[2];

static void open_bank(struct bank *bank) { pthread_mutex_init(&bank->lock, NULL); }
static void open_account(struct account *account) { pthread_mutex_init(&account->lock, NULL); }
static void open_table(struct table *table) { pthread_mutex_init(&table->lock, NULL); }

/* Accounts are opened in an order that is not their addresses'. */
static void open_all(void) {
    static const int order[] = {2, 0, 3, 1};
    for (int i = 0; i < 2; i++) open_bank(&banks[i]);
    for (int i = 0; i < 4; i++) open_account(&accounts[order[i]]);
    for (int i = 0; i < 2; i++) open_table(&tables[i]);
}
