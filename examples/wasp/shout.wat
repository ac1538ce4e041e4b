;; A plug-in in WebAssembly, as text: it answers each message in capital letters.
;;
;; The host writes a message to where `alloc` says, and calls `on_message`. Each connection has an
;; instance of its own, so `alloc` may always return the same address.
(module
  (import "vespiary" "send" (func $send (param $address i32) (param $size i32) (param $is_text i32)))
  (memory (export "memory") 1)

  (func (export "alloc") (param $size i32) (result i32)
    ;; One page is there. A longer message needs more; without more, this traps.
    (if (i32.gt_u (local.get $size) (i32.const 65536))
      (then
        (if (i32.eq (memory.grow (i32.shr_u (local.get $size) (i32.const 16))) (i32.const -1))
          (then (unreachable)))))
    (i32.const 0))

  (func (export "on_message") (param $address i32) (param $size i32) (param $is_text i32)
    (local $at i32) (local $end i32) (local $byte i32)
    (local.set $at (local.get $address))
    (local.set $end (i32.add (local.get $address) (local.get $size)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.and
              (i32.ge_u (local.get $byte) (i32.const 97))
              (i32.le_u (local.get $byte) (i32.const 122)))
          (then (i32.store8 (local.get $at) (i32.sub (local.get $byte) (i32.const 32)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (call $send (local.get $address) (local.get $size) (local.get $is_text))))
