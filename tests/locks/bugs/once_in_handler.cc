/* source: https://github.com/ng-log/ng-log/pull/40
 * hang: deadlock, repaired: nothing
 * A failure handler runs once, with std::call_once. A failure inside the handler calls it again. */
#include "bugs.h"

#include <csignal>
#include <mutex>

static std::once_flag dumped;
static std::atomic<int> entered{0};
static std::mutex output;

static void dump() {
    static bool is_first = true;
    if (!is_first) return;
    is_first = false;
    { std::lock_guard<std::mutex> guard(output); }
    raise(SIGUSR1);
}
static void on_failure(int) {
    if (repaired) {
        if (entered.fetch_add(1) == 0) dump();
        return;
    }
    std::call_once(dumped, dump);
}
int main(int argc, char **argv) {
    set_form(argc, argv);
    struct sigaction action = {};
    action.sa_handler = on_failure;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
    return 0;
}
