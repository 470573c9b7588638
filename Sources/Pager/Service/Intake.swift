// Waiting for what clients have already said.
//
// Guarantee: it ends. Messages that come later are not waited for, and nothing is where nobody takes messages in.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Waits until the messages that have come by now are taken in, as long as somebody does so: without workers, or while they
    /// are inhibited, nobody does.
    func awaitIntake() {
        var end: mach_port_seqno_t = 0
        if pager_port_end(portName, &end) != 0 { return }
        var turn = pointee.turn.load(ordering: .acquiring)
        var stalled = Deadline(PagerPointer.intakeLimit)
        while Int32(bitPattern: end &- turn) > 0 && !stalled.isOver {
            platform_pause_ms(1)
            let now = pointee.turn.load(ordering: .acquiring)
            if now != turn { stalled = Deadline(PagerPointer.intakeLimit) }
            turn = now
        }
    }

    /// Milliseconds in which a worker, if there is any, takes one message in.
    private static var intakeLimit: Int { 1000 }
}
