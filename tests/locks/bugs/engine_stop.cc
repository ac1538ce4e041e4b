/* source: https://github.com/Tr3kkR/Yuzu/issues/2349
 * hang: deadlock, repaired: nothing
 * A thread stops an engine and joins its workers while it holds the engine's mutex. A worker
 * that reports a result wants this mutex. */
#include "bugs.h"

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

struct Engine {
    std::mutex mutex;
    std::vector<std::thread> workers;
    std::atomic<bool> stops{false};
    int sent = 0;
    void send() { std::lock_guard<std::mutex> guard(mutex); ++sent; }
    void start(const std::function<void()> &send_function) {
        for (int i = 0; i < 2; ++i)
            workers.emplace_back([this, send_function] {
                while (!stops.load()) usleep(200);
                send_function();
            });
    }
    void stop() {
        std::unique_lock<std::mutex> guard(mutex);
        stops.store(true);
        if (repaired) guard.unlock();
        for (auto &worker : workers) worker.join();
    }
};

int main(int argc, char **argv) {
    set_form(argc, argv);
    Engine engine;
    engine.start([&engine] { engine.send(); });
    engine.stop();
    return 0;
}
