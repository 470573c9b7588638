// Sending one message to one client.
//
// A message that is not sent would leave somebody waiting for ever, so a failure is one of four things:
//   - the client's port is dead. It is known to us as a dead name, or soon will be; that ends whatever concerns the client, in the
//     order of its messages. Nothing is to be done here.
//   - something is short (memory, buffers): it is tried again, a few times, with a pause.
//   - it still cannot be sent: the client cannot be served and is given up, as if it were dead, when what it has said by then is taken in
//     (GivingUp.swift).
//   - the client's port is one with a queue that nobody empties (CPlatform/send.c): the same.
//
// A client's number may be used again while a thread is still about to send to its last bearer. Whoever sends what a page's state decided
// says by which `Outcome`, and that tells the two apart (`Outcome.means`).

import CPlatform
import Synchronization

private let attempts = 6

/// What became of a message, and of the memory that it was to move.
enum Delivery: UInt8 {
    /// Sent.
    case sent
    /// Not sent; nothing was taken.
    case refused
    /// Not sent, but gone.
    case lost
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// `message` sends to the control port that it is given. `outcome`: what decided on the message; nil: it is for whoever has the number.
    @inline(__always)
    @discardableResult
    func send(_ number: ClientNumber, _ page: UInt64, by outcome: Outcome? = nil,
              _ message: (mach_port_t) -> kern_return_t) -> Delivery {
        let client = pointee.clients.client(number)
        if !client.acquire() { return .refused }
        defer { release(client) }
        if let outcome, !outcome.means(client, page, self) { return .refused }
        let result = message(client.pointee.control.load(ordering: .relaxed))
        return result == 0 ? .sent : sendAgain(client, page, result, message)
    }

    @inline(never)
    func sendAgain(_ client: ClientPointer, _ page: UInt64, _ first: kern_return_t,
                           _ message: (mach_port_t) -> kern_return_t) -> Delivery {
        var result = first
        for attempt in 1..<attempts {
            if result == pager_send_invalid_destination { return .refused }
            if result == pager_send_lost { return .lost }
            refuse(.sendFailed, UInt64(offset(page)), UInt64(UInt32(bitPattern: result)))
            if result == pager_send_given_up {
                // Another message would wait as long.
                letGo(client, saying: false)
                return .lost
            }
            platform_pause_ms(UInt32(1 << attempt))
            result = message(client.pointee.control.load(ordering: .relaxed))
            if result == 0 { return .sent }
        }
        letGo(client, saying: true)
        return .refused
    }

    /// A kernel is told that it is not served (any more).
    func sendDestroy(_ control: mach_port_t) {
        sendToStranger(0) { pager_control_memory_object_destroy(control, KERN_FAILURE) }
    }

    /// `message` sends to a control port that is no client's (any more), or is not to be one. That, too, is tried again; a kernel that cannot be
    /// reached waits until somebody ends it.
    func sendToStranger(_ offset: vm_offset_t, _ message: () -> kern_return_t) {
        for attempt in 1...attempts {
            let result = message()
            if result == 0 || result == pager_send_invalid_destination || result == pager_send_lost { return }
            refuse(.sendFailed, UInt64(offset), UInt64(UInt32(bitPattern: result)))
            if result == pager_send_given_up { return }
            if attempt < attempts { platform_pause_ms(UInt32(1 << attempt)) }
        }
    }
}
