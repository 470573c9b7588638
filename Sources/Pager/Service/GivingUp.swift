// Giving up a client that cannot be reached.
//
// What it has said by then counts. The messages that lie in our port at that moment are taken in first, and may tell that it was no such
// client: after a kernel's last unmap its control port lies in our own queue, behind the pages that it returned, and nobody empties it. So the
// client only begins to *leave*:
//
//   U1  It ends when the turn has come to the first message that came behind that moment (at once, if none lay there); or before, by
//       memory_object_terminate, by its port's death, or with the object.
//   U2  Nobody waits for that but who waits for the client anyway. Where nobody takes messages in (the workers are inhibited), no answer is taken in, either.
//       A worker leaves it to another, or does it when it comes back: here it may have the executor, and a callback that the client's pages need
//       next would run inside of what that is held for, which does not step aside with it (Callback.swift).
//   U3  A message to its control port, of whatever object, fails at once where it would have to wait (CPlatform/send.c).

import CPlatform
import Synchronization

/// Locked.
struct Leaving {
    /// Clients of the object that leave. Each counts in `turnWaiters`, so that whoever passes a turn looks.
    var clients: UInt32 = 0
}

extension Client {
    /// Locked.
    struct Leave {
        /// The message that is not waited for any more, and at which port.
        let turn: UInt32
        let port: mach_port_t
        let control: mach_port_t
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Messages to the client cannot be sent. `saying`: it is told. The caller holds a reference.
    func letGo(_ client: ClientPointer, saying: Bool) {
        pointee.monitor.lock()
        let isFirst = client.pointee.attached.load(ordering: .acquiring) != 0 && client.pointee.leave == nil
        if isFirst { beginLeavingLocked(client) }
        pointee.monitor.unlock()
        if isFirst && saying { sendDestroy(client.pointee.control.load(ordering: .relaxed)) }
        if let worker = Worker.current, Callback.current?.pointee.state != .aside {
            worker.pointee.pool.leaveWork(self)
            worker.pointee.pool.callReceiver()
        } else {
            endLeaving()
        }
    }

    private func beginLeavingLocked(_ client: ClientPointer) {
        // Counted before the turn is looked at; who passes a turn does it the other way round: one of us sees the other.
        pointee.turnWaiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
        locked.pointee.leaving.clients += 1
        let port = portName, control = client.pointee.control.load(ordering: .relaxed)
        var end: mach_port_seqno_t = 0
        if pager_port_end(port, &end) != 0 { end = pointee.turn.load(ordering: .sequentiallyConsistent) }
        client.pointee.leave = Client.Leave(turn: end, port: port, control: control)
        pager_send_hopeless(control, 1)
    }

    /// The client ends, or ended.
    func endLeaveLocked(_ client: ClientPointer) {
        guard let leave = client.pointee.leave else { return }
        client.pointee.leave = nil
        locked.pointee.leaving.clients -= 1
        pointee.turnWaiters.wrappingSubtract(1, ordering: .relaxed)
        pager_send_hopeless(leave.control, 0)
    }

    /// Gives up those for whose sake nothing is to be taken in any more. No turn and no lock is held.
    func endLeaving() {
        while true {
            pointee.monitor.lock()
            // (It is attached, so it can be acquired.)
            let client = findDueLocked(), isHeld = client?.acquire() ?? false
            pointee.monitor.unlock()
            guard let client, isHeld else { return }
            giveUp(client, saying: false)
            release(client)
        }
    }

    /// Whoever passed a turn is to see to it that somebody does the above.
    func isLeaveDueLocked() -> Bool { findDueLocked() != nil }

    private func findDueLocked() -> ClientPointer? {
        if locked.pointee.leaving.clients == 0 { return nil }
        let turn = pointee.turn.load(ordering: .sequentiallyConsistent), port = portName
        for number in 0..<pointee.clients.used {
            let client = pointee.clients.client(number)
            guard let leave = client.pointee.leave else { continue }
            // (Messages of another port have other numbers.)
            if leave.port != port || Int32(bitPattern: turn &- leave.turn) >= 0 { return client }
        }
        return nil
    }
}
