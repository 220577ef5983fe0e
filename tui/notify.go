package tui

func (m *Model) toggleQuiet() {
	m.quiet = !m.quiet
	if m.quiet {
		m.say("no bell and no notifications from now on", false)
		return
	}
	m.say("a bell and a notification when something fails or recovers", false)
}
