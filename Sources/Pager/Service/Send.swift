// Sending one message to one client.
//
// A message that is not sent would leave somebody waiting for ever, so a failure is one of three things:
//   - the client's port is dead. It is known to us as a dead name, or soon will be; that ends whatever concerns the client, in the
//     order of its messages. Nothing is to be done here.
//   - something is short (memory, buffers): it is tried again, a few times, with a pause.
//   - it still cannot be sent: the client cannot be served and is given up, as if it were dead.

import CPlatform
import Synchronization

private let attempts = 6

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// `message` sends to the control port that it is given. true: it was sent.
    @inline(__always)
    @discardableResult
    func send(_ number: ClientNumber, _ page: UInt64, _ message: (mach_port_t) -> kern_return_t) -> Bool {
        let client = pointee.clients.client(number)
        if !client.acquire() { return false }
        let result = message(client.pointee.control.load(ordering: .relaxed))
        let sent = result == 0 || sendAgain(client, page, result, message)
        release(client)
        return sent
    }

    @inline(never)
    private func sendAgain(_ client: ClientPointer, _ page: UInt64, _ first: kern_return_t,
                           _ message: (mach_port_t) -> kern_return_t) -> Bool {
        var result = first
        for attempt in 1..<attempts {
            if result == pager_send_invalid_destination { return false }
            refuse(.sendFailed, UInt64(offset(page)), UInt64(UInt32(bitPattern: result)))
            platform_pause_ms(UInt32(1 << attempt))
            result = message(client.pointee.control.load(ordering: .relaxed))
            if result == 0 { return true }
        }
        giveUp(client)
        return false
    }

    /// A kernel is told that it is not served (any more). That, too, is tried again; a kernel that cannot even be told this waits
    /// until somebody ends it.
    func sendDestroy(_ control: mach_port_t) {
        for attempt in 1...attempts {
            let result = memory_object_destroy(control, KERN_FAILURE)
            if result == 0 || result == pager_send_invalid_destination { return }
            refuse(.sendFailed, 0, UInt64(UInt32(bitPattern: result)))
            if attempt < attempts { platform_pause_ms(UInt32(1 << attempt)) }
        }
    }
}
