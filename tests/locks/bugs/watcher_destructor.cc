/* source: https://github.com/SpartanJ/efsw/pull/151
 * hang: deadlock, repaired: nothing
 * A file watcher's destructor joins its thread under the lock that the thread takes first. */
#include "bugs.h"

#include <memory>
#include <mutex>
#include <thread>

class Watcher {
public:
    explicit Watcher(std::atomic<bool> &is_over) : thread_([this, &is_over] { run(is_over); }) {}
    ~Watcher() {
        std::unique_lock<std::mutex> guard(init_);
        over_.store(true);
        if (repaired) guard.unlock();
        thread_.join();
    }

private:
    void run(std::atomic<bool> &is_over) {
        while (!over_.load()) usleep(200);
        std::lock_guard<std::mutex> guard(init_);
        is_over.store(true);
    }
    std::atomic<bool> over_{false};
    std::mutex init_;
    std::thread thread_;
};

int main(int argc, char **argv) {
    set_form(argc, argv);
    std::atomic<bool> is_over{false};
    std::make_unique<Watcher>(is_over).reset();
    return is_over.load() ? 0 : 1;
}
