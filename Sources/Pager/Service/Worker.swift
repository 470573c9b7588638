// The threads that serve a bucket.
//
// Every worker receives messages and deals with what it received itself: no hand-over. Two rules:
//   - One worker always receives. The last receiver makes a new one before it calls the translator; if there can be no
//     more, it leaves the callback to a worker that comes back, and goes on receiving. So the messages that end somebody's wait
//     (`lock_completed`, `change_completed`, `data_return`) never wait for a callback.
//   - Inhibition: each worker stops at a *marker*, a message to the pool's own port in the bucket's port set. The set
//     is one queue, so a worker that takes a marker has done all that it received before, and when every worker has
//     taken one, all that came before the markers is done.
// What a thread knows of itself is in its `Worker`; threads of the translator's have none, but while they do what workers left.

import CPlatform
import Synchronization

struct Worker {
    let pool: PoolPointer
    var buffer: UnsafeMutableRawPointer
    let reply: UnsafeMutableRawPointer
    var bufferSize: mach_msg_size_t
    /// Whom the message at hand is for.
    var target: PagerPointer?
    var turnNumber: UInt32 = 0
    /// Where it waits for that.
    var turn: TurnQueue.Entry
    var hasTurn = false
    /// Counted among those who receive (or soon will, without a callback between).
    var isReceiver = false

    @inline(__always)
    static var current: UnsafeMutablePointer<Worker>? {
        platform_thread_local()?.assumingMemoryBound(to: Worker.self)
    }

    /// Whether this thread may call the translator (or a kernel that may keep it): it must not be the last that receives.
    @inline(__always)
    static func mayCallTranslator() -> Bool {
        guard let worker = current else { return true }
        return worker.leaveReceivers()
    }

    /// This thread may be kept in a message to a client: if it is the last that receives, another must, if there can be one.
    static func mayWait() { _ = mayCallTranslator() }

    /// Jobs of this pager wait, and this thread must not do them.
    static func leaveToOthers(_ pager: PagerPointer) {
        guard let worker = current else { return }
        worker.pointee.pool.leaveWork(pager)
        // Somebody may have come back to receive meanwhile.
        worker.pointee.pool.doWork(worker)
    }

    /// What `beginWait` did.
    struct Waiting {
        fileprivate var isCounted = false
        fileprivate var callback: CallbackPointer?
    }

    /// This thread is going to wait for an answer from a client, or for the end of a callback. If it is in a callback, that steps
    /// aside. No lock is held.
    static func beginWait() -> Waiting {
        var waiting = Waiting()
        if let worker = current { waiting.isCounted = worker.pointee.pool.beginWait() }
        if let callback = Callback.current, callback.pointee.state == .running {
            waiting.callback = callback
            callback.pointee.pager.stepAside(callback)
        }
        return waiting
    }

    static func endWait(_ waiting: Waiting) {
        if let callback = waiting.callback { callback.pointee.pager.stepBack(callback) }
        if waiting.isCounted, let worker = current { worker.pointee.pool.endWait() }
    }
}

extension Worker {
    /// For a thread that does the workers' work and does not receive (`doWorkForWorkers`).
    init(forWorkers pool: PoolPointer) {
        // (No message is ever put there, and no turn waited for.)
        let nowhere = UnsafeMutableRawPointer(pool)
        self.init(pool: pool, buffer: nowhere, reply: nowhere, bufferSize: 0, turn: TurnQueue.Entry(pool.pointee.parking))
    }
}

extension UnsafeMutablePointer where Pointee == Worker {
    /// Frees it. Its thread has ended, or does not know it any more.
    func destroy() {
        platform_free(pointee.buffer)
        platform_free(pointee.reply)
        pointee.turn.condition.destroy()
        Memory.free(self)
    }

    @inline(__always)
    func passTurn() {
        if !pointee.hasTurn { return }
        pointee.hasTurn = false
        if let target = pointee.target { target.passTurn(pointee.turnNumber) }
    }

    @inline(__always)
    func leaveReceivers() -> Bool {
        if !pointee.isReceiver { return true }
        if !pointee.pool.receiverLeaves() { return false }
        pointee.isReceiver = false
        return true
    }

    /// The thread's life: receive, serve, until it is told to end.
    func run() {
        platform_set_thread_local(self)
        while pointee.pool.awaitPermission(self) {
            var needed: mach_msg_size_t = 0
            let message = pointee.buffer.assumingMemoryBound(to: mach_msg_header_t.self)
            // Jobs that this worker must leave to others, of whom there are none yet: it looks again soon.
            let limit: mach_msg_timeout_t = pointee.pool.pointee.hasWork.load(ordering: .relaxed) == 0 ? 0 : 50
            let result = pager_receive(message, pointee.bufferSize, pointee.pool.pointee.portSet, 1, limit, &needed)
            if result == pager_receive_timed_out { continue }
            if result == pager_receive_too_large {
                if !enlarge(needed) { destroyMessage(message) }
            } else if result != 0 {
                // The port set is gone: nothing will ever come.
                pointee.pool.portSetGone()
                break
            } else if !pointee.pool.takeMarker(self, message) {
                serve(message)
            }
        }
        platform_set_thread_local(nil)
    }

    private func enlarge(_ needed: mach_msg_size_t) -> Bool {
        // Bounded: no message that we know is larger than a few hundred bytes.
        guard needed <= 1 << 20, let larger = Memory.allocateBytes(Int(needed)) else { return false }
        platform_free(pointee.buffer)
        pointee.buffer = larger
        pointee.bufferSize = needed
        return true
    }

    /// There is no room for it. Whoever is next for its port must not wait for it.
    private func destroyMessage(_ message: UnsafeMutablePointer<mach_msg_header_t>) {
        var needed: mach_msg_size_t = 0
        let result = pager_receive(message, pointee.bufferSize, pointee.pool.pointee.portSet, 0, 0, &needed)
        if result != pager_receive_too_large {
            // Another one came first.
            if result == 0 && !pointee.pool.takeMarker(self, message) { serve(message) }
            return
        }
        guard let target = lookUp(message) else { return }
        if target.awaitTurn(pager_message_number(message), pager_message_port(message), self) {
            target.passTurn(pager_message_number(message))
        }
        target.refuse(.badLength, 0, UInt64(needed))
        ports_port_deref(target.pointee.port)
    }

    private func lookUp(_ message: UnsafeMutablePointer<mach_msg_header_t>) -> PagerPointer? {
        guard let port = pager_message_object(pointee.pool.pointee.bucket, PagerClass.existing, message) else { return nil }
        return PagerObject.of(port: port)
    }

    private func serve(_ message: UnsafeMutablePointer<mach_msg_header_t>) {
        let reply = pointee.reply.assumingMemoryBound(to: mach_msg_header_t.self)
        guard let target = lookUp(message) else {
            // Not a pager's (any more): a notification for another port of the bucket, or nobody's.
            let id = pager_message_id(message)
            let served = pager_serve_notification(message, reply)
            pager_finish_message(message, reply, served)
            if served == 0 { pointee.pool.leaveToOthers(id) }
            return
        }
        var call = pager_call()
        let began = pager_begin_call(target.pointee.port, message, &call)
        pointee.target = target
        pointee.turnNumber = pager_message_number(message)
        pointee.hasTurn = target.awaitTurn(pointee.turnNumber, pager_message_port(message), self)
        target.pointee.counters.messages.increment()

        if began != 0 || !pointee.hasTurn {
            pager_finish_message(message, reply, 0)
        } else {
            deliver(message, reply, target)
        }
        passTurn()
        if began == 0 { pager_end_call(target.pointee.port, &call) }
        pointee.target = nil
        ports_port_deref(target.pointee.port)
    }

    /// The message to its routine. It is the message's turn.
    private func deliver(_ message: UnsafeMutablePointer<mach_msg_header_t>,
                         _ reply: UnsafeMutablePointer<mach_msg_header_t>, _ target: PagerPointer) {
        let identifier = UInt64(UInt32(bitPattern: pager_message_id(message)))
        var deadName: mach_port_t = 0
        switch pager_is_dead_name(message, &deadName) {
        case 1:
            return target.takeDeadName(deadName)
        case -1:
            // Not for libports: it would give up a reference that nobody gave us.
            passTurn()
            target.refuse(.badMessage, identifier)
            return pager_finish_message(message, reply, 0)
        default: break
        }
        var served = pager_serve_message(message, reply)
        if served == 0 {
            passTurn()
            served = pager_serve_notification(message, reply)
            if served == 0 { target.refuse(.unknownMessage, identifier) }
        }
        if served != 0 {
            let code = pager_reply_code(reply)
            if code != 0 { target.refuse(.badMessage, identifier, UInt64(bitPattern: Int64(code))) }
        }
        pager_finish_message(message, reply, served)
    }
}
