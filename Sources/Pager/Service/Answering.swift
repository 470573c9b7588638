// Waiting for the answers that are being sent.
//
// A user's flush takes pages from a client's access set when it is answered, but not those that the client was given behind it
// (Ledger.swift). Of two messages to one client from two threads nobody knows which came first. So the flush is sent when
// every answer that began before it was noted has been sent, and an answer that begins later notes its page first.
//
// Whoever sends answers counts himself in the counter of the present phase (or says the phase at his seat, Seats.swift), until the page's
// word says `sent`. Whoever waits
// changes the phase and waits for the counter of the old one, which nobody enters any more: so new answers do not keep him
// waiting. (Who has read the old phase and counts himself only after that is seen by the next one who waits; and he sees the
// flush.)

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Answers are going to be sent. Returns the phase, for `endAnswers`.
    @inline(__always)
    func beginAnswers() -> UInt32 {
        let phase = pointee.answerPhase.load(ordering: .sequentiallyConsistent)
        if phase == 0 {
            pointee.evenAnswers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        } else {
            pointee.oddAnswers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        }
        return phase
    }

    /// The same for the one answer of a read that has a seat.
    @inline(__always)
    func beginAnswer(in seat: SeatPointer) {
        seat.pointee.answering.store(pointee.answerPhase.load(ordering: .sequentiallyConsistent) &+ 1, ordering: .sequentiallyConsistent)
    }

    @inline(__always)
    func endAnswer(in seat: SeatPointer) {
        seat.pointee.answering.store(0, ordering: .sequentiallyConsistent)
        noteAnswered()
    }

    /// An answer counts as sent. Whoever waits is counted in `rangeFlushes` before he looks.
    @inline(__always)
    func noteAnswered() {
        if pointee.rangeFlushes.load(ordering: .sequentiallyConsistent) != 0 { wakeWaiters() }
    }

    @inline(__always)
    func endAnswers(_ phase: UInt32) {
        if phase == 0 {
            pointee.evenAnswers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        } else {
            pointee.oddAnswers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        }
        noteAnswered()
    }

    @inline(never)
    private func wakeWaiters() {
        pointee.monitor.lock()
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }

    private func answers(_ phase: UInt32) -> UInt32 {
        let counted = phase == 0 ? pointee.evenAnswers.load(ordering: .sequentiallyConsistent)
            : pointee.oddAnswers.load(ordering: .sequentiallyConsistent)
        let lone: UInt32 = pointee.lone.answering.load(ordering: .sequentiallyConsistent) == phase + 1 ? 1 : 0
        return counted + lone + (seats?.answers(phase) ?? 0)
    }

    /// Waits until every answer that is being sent has been sent. false: one takes too long (its client keeps the sender, or the
    /// caller is called from within). `rangeFlushes` counts the caller.
    func awaitAnswersSent() -> Bool {
        if answers(0) == 0 && answers(1) == 0 { return true }
        let deadline = Deadline(1000)
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        while locked.pointee.isChangingPhase {
            if !pointee.monitor.wait(deadline.left) && deadline.isOver { return false }
        }
        locked.pointee.isChangingPhase = true
        let phase = pointee.answerPhase.load(ordering: .relaxed)
        // Those who were late for the last change.
        var sent = awaitLocked(1 - phase, deadline)
        if sent {
            pointee.answerPhase.store(1 - phase, ordering: .sequentiallyConsistent)
            sent = awaitLocked(phase, deadline)
        }
        locked.pointee.isChangingPhase = false
        pointee.monitor.wakeAll()
        return sent
    }

    private func awaitLocked(_ phase: UInt32, _ deadline: Deadline) -> Bool {
        while answers(phase) != 0 {
            if !pointee.monitor.wait(deadline.left) && deadline.isOver { return answers(phase) == 0 }
        }
        return true
    }
}
