// A read-write lock as Boost builds it, of a mutex and a condition, and under Boost's name.
#include <condition_variable>
#include <mutex>

namespace boost {
class shared_mutex {
    std::mutex state;
    std::condition_variable changed;
    int readers = 0;

public:
    void lock_shared();
    void unlock_shared();
};
__attribute__((noinline)) void shared_mutex::lock_shared() {
    std::lock_guard<std::mutex> guard(state);
    readers++;
}
__attribute__((noinline)) void shared_mutex::unlock_shared() {
    std::lock_guard<std::mutex> guard(state);
    if (--readers == 0) changed.notify_all();
}
} // namespace boost

int main() {
    boost::shared_mutex table;
    table.lock_shared();
    table.unlock_shared();
}
