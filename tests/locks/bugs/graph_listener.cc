/* source: https://github.com/ros2/rclcpp/pull/1135
 * order: inversion, hang: deadlock, repaired: nothing
 * A node has a graph mutex, and a listener has two more mutexes. One of them is taken last in
 * one place, and first in another. */
#include "bugs.h"

#include <mutex>

static std::mutex graph, barrier, interfaces;

THREAD(notifies) {
    std::lock_guard<std::mutex> outer(graph);
    meet();
    std::lock_guard<std::mutex> inner(barrier);
    std::lock_guard<std::mutex> innermost(interfaces);
    return unused;
}
THREAD(adds_node) {
    if (repaired) {
        std::scoped_lock all(graph, barrier, interfaces);
        return unused;
    }
    std::lock_guard<std::mutex> outer(barrier);
    meet();
    std::lock_guard<std::mutex> inner(graph);
    return unused;
}
PROGRAM(notifies, adds_node)
