// Moves of words, remembered: they say what the rules say, and who may follow them.

import CPlatform
import XCTest
@testable import Pager

final class WordMoveTests: XCTestCase {
    /// All that can happen to a page of four clients, and of a fifth.
    private static let events: [Event] = (0..<5).flatMap { (client: ClientNumber) -> [Event] in
        [.request(client, write: false), .request(client, write: true), .unlock(client), .lockCompleted(client), .released(client),
         .clientGone(client), .returned(client, dirty: true, keepsCopy: false), .returned(client, dirty: true, keepsCopy: true),
         .returned(client, dirty: false, keepsCopy: false)]
    } + [.readDone(code: 0, writeLock: false), .readDone(code: 0, writeLock: true), .readDone(code: 5, writeLock: false), .writeDone(code: 0),
         .writeDone(code: 28), .unlockDone(code: 0), .unlockDone(code: 5), .unlockDone(code: 0, hasData: true),
         .unlockDone(code: 5, hasData: true), .sent, .notified, .writtenBack(code: 0), .writtenBack(code: 5)]

    private static let contexts: [Context] = [Context(), Context(sole: true), Context(notify: true), Context(sole: true, notify: true, direct: true),
                                              Context(hadHolders: true), Context(isOffered: true)]

    /// Whoever reports has begun (the rules count on it).
    private func isPossible(_ event: Event, _ word: Word) -> Bool {
        let state = WordState(word)
        switch event {
        case .readDone: return state.activity == .pagingIn
        case .writeDone: return state.activity == .pagingOut
        case .unlockDone(_, let hasData): return state.activity == .unlocking && !(hasData && (!state.isAccessEmpty || state.isHeld))
        case .sent: return state.activity == .sending
        case .notified: return state.activity == .notifying
        case .writtenBack: return state.isHeld
        default: return true
        }
    }

    /// Calls the body for every move of the first `count` words that pages can come into, by all events and contexts.
    private func forEachMove(_ count: Int, _ body: (Word, Event, Context) -> Void) {
        var words = [Word.untouched], seen: Set<UInt32> = [Word.untouched.raw], next = 0
        while next < min(words.count, count) {
            let word = words[next]
            next += 1
            for event in WordMoveTests.events where isPossible(event, word) {
                for context in WordMoveTests.contexts {
                    body(word, event, context)
                    var state = WordState(word)
                    _ = PageProtocol.step(&state, event, context)
                    if !state.overflowed && seen.insert(state.word.raw).inserted { words.append(state.word) }
                }
            }
        }
    }

    /// "A move is what `PageProtocol.step` said", also when it is found again.
    func testAMoveIsWhatTheRulesSay() {
        var found = 0
        forEachMove(1000) { word, event, context in
            guard let move = WordMoves.shared.move(word, event, event.edgeKey(context), context) else { return }
            found += 1
            var state = WordState(word)
            let head = state.isQueueEmpty ? noClient : state.head.client
            var effects = PageProtocol.step(&state, event, context)
            if effects.count == 1 && effects.client == noClient && effects.without == noClient { effects.client = head }
            XCTAssertEqual(move.effects, effects)
            XCTAssertEqual(move.reach == .beyond, state.overflowed)
            if !state.overflowed { XCTAssertEqual(move.new, state.word) }
        }
        // (What found no place is worked out each time.)
        XCTAssertGreaterThan(found, 200)
    }

    /// Who asks clients for a page, or is concerned with the write-back, has the lock; the short ways answer one client with what they have.
    func testReach() {
        forEachMove(1000) { word, event, context in
            guard let move = WordMoves.shared.move(word, event, event.edgeKey(context), context), move.reach != .beyond else { return }
            let effects = move.effects
            if word.isHeld || move.new.isHeld || effects.held != .unchanged || effects.action == .flush || effects.action == .downgrade {
                XCTAssertEqual(move.reach, .locked)
            } else if effects.count > 1 || effects.data != .used || effects.refusal != .none {
                XCTAssertEqual(move.reach, .free)
            } else {
                XCTAssertNotEqual(move.reach, .locked)
            }
        }
    }

    /// Not everything is worth remembering.
    func testWithoutAKeyNothingIsRemembered() {
        XCTAssertEqual(Event.readDone(code: 5, writeLock: false).edgeKey(Context()), 0)
        XCTAssertNil(WordMoves.shared.move(.resting, .readDone(code: 5, writeLock: false), 0, Context()))
    }
}
