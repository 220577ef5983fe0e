package protocol

// Decode returns the message in a frame. What it holds is its own.
func Decode(k Kind, payload []byte) (Message, error) {
	m := newMessage(k)
	if m == nil {
		return nil, ErrFrame
	}
	d := decoder{b: payload}
	m.decode(&d)
	if d.bad || len(d.b) != 0 {
		return nil, ErrFrame
	}
	return m, nil
}

func newMessage(k Kind) Message {
	switch k {
	case kindHello:
		return new(Hello)
	case kindWelcome:
		return new(Welcome)
	case kindState:
		return new(State)
	case kindBegin:
		return new(Begin)
	case kindPut:
		return new(Put)
	case kindData:
		return new(Data)
	case kindPutEnd:
		return new(PutEnd)
	case kindRemove:
		return new(Remove)
	case kindMkdir:
		return new(Mkdir)
	case kindLink:
		return new(Link)
	case kindChmod:
		return new(Chmod)
	case kindEnd:
		return new(End)
	case kindAck:
		return new(Ack)
	case kindAsk:
		return new(Ask)
	case kindAnswer:
		return new(Answer)
	case kindNotice:
		return new(Notice)
	case kindPing:
		return new(Ping)
	case kindPong:
		return new(Pong)
	case kindRefuse:
		return new(Refuse)
	case kindCommand:
		return new(Command)
	case kindFetch:
		return new(Fetch)
	case kindFetched:
		return new(Fetched)
	case kindRepair:
		return new(Repair)
	case kindRepaired:
		return new(Repaired)
	}
	return nil
}

func (*Hello) Kind() Kind    { return kindHello }
func (*Welcome) Kind() Kind  { return kindWelcome }
func (*State) Kind() Kind    { return kindState }
func (*Begin) Kind() Kind    { return kindBegin }
func (*Put) Kind() Kind      { return kindPut }
func (*Data) Kind() Kind     { return kindData }
func (*PutEnd) Kind() Kind   { return kindPutEnd }
func (*Remove) Kind() Kind   { return kindRemove }
func (*Mkdir) Kind() Kind    { return kindMkdir }
func (*Link) Kind() Kind     { return kindLink }
func (*Chmod) Kind() Kind    { return kindChmod }
func (*End) Kind() Kind      { return kindEnd }
func (*Ack) Kind() Kind      { return kindAck }
func (*Ask) Kind() Kind      { return kindAsk }
func (*Answer) Kind() Kind   { return kindAnswer }
func (*Notice) Kind() Kind   { return kindNotice }
func (*Ping) Kind() Kind     { return kindPing }
func (*Pong) Kind() Kind     { return kindPong }
func (*Refuse) Kind() Kind   { return kindRefuse }
func (*Command) Kind() Kind  { return kindCommand }
func (*Repair) Kind() Kind   { return kindRepair }
func (*Repaired) Kind() Kind { return kindRepaired }
func (*Fetch) Kind() Kind    { return kindFetch }
func (*Fetched) Kind() Kind  { return kindFetched }

func (m *Hello) encode(e *encoder) {
	e.uint(m.Protocol)
	e.b = append(append(e.b, m.Client[:]...), m.Boot[:]...)
	e.uint(m.Version)
	e.bool(m.Observe)
}

func (m *Hello) decode(d *decoder) {
	m.Protocol = d.uint()
	both := d.hash()
	copy(m.Client[:], both[:16])
	copy(m.Boot[:], both[16:])
	m.Version = d.uint()
	m.Observe = d.bool()
}

func (m *Welcome) encode(e *encoder) {
	e.uint(m.Protocol)
	e.string(m.Agent)
	e.bytes(m.Boot[:])
	e.uint(m.Version)
	e.bool(m.Same)
	e.bool(m.Run)
	e.bool(m.Restarts)
	e.bool(m.Unsynced)
	e.uint(uint64(m.UID))
	e.uint(uint64(m.GID))
	e.uint(uint64(len(m.Mounts)))
	for _, mt := range m.Mounts {
		e.string(mt.Path)
		e.bool(mt.ReadOnly)
		e.string(mt.FSType)
		e.string(mt.Identity)
	}
	m.Process.encode(e)
	e.bool(m.Synced)
	m.Last.encode(e)
}

func (m *Welcome) decode(d *decoder) {
	m.Protocol = d.uint()
	m.Agent = d.string()
	if b := d.bytes(); len(b) == len(m.Boot) {
		copy(m.Boot[:], b)
	} else {
		d.fail()
	}
	m.Version = d.uint()
	m.Same = d.bool()
	m.Run = d.bool()
	m.Restarts = d.bool()
	m.Unsynced = d.bool()
	m.UID = uint32(d.uint())
	m.GID = uint32(d.uint())
	for range d.count() {
		m.Mounts = append(m.Mounts, Mount{d.string(), d.bool(), d.string(), d.string()})
		if d.bad {
			return
		}
	}
	m.Process.decode(d)
	m.Synced = d.bool()
	m.Last.decode(d)
}

func (l *Last) encode(e *encoder) {
	e.uint(l.Generation)
	e.int(l.Took)
	e.int(l.Bytes)
	e.string(l.Failed)
}

func (l *Last) decode(d *decoder) {
	l.Generation = d.uint()
	l.Took = d.int()
	l.Bytes = d.int()
	l.Failed = d.string()
}

func (p *Process) encode(e *encoder) {
	e.byte(byte(p.Phase))
	e.uint(p.Starts)
	e.int(p.ExitCode)
}

func (p *Process) decode(d *decoder) {
	p.Phase = Phase(d.byte())
	p.Starts = d.uint()
	p.ExitCode = d.int()
}

func encodeEntries(e *encoder, entries []Entry) {
	e.uint(uint64(len(entries)))
	for i := range entries {
		e.string(entries[i].Path)
		entries[i].File.encode(e)
	}
}

func decodeEntries(d *decoder) []Entry {
	var all []Entry
	for range d.count() {
		var en Entry
		en.Path = d.string()
		en.File.decode(d)
		if d.bad || !ValidPath(en.Path) { // the agent's word, which may be anybody's
			d.fail()
			return nil
		}
		all = append(all, en)
	}
	return all
}

func (m *State) encode(e *encoder) { e.bool(m.Last); encodeEntries(e, m.Entries) }
func (m *State) decode(d *decoder) { m.Last = d.bool(); m.Entries = decodeEntries(d) }

func (m *Begin) encode(e *encoder) {
	e.uint(m.Generation)
	e.bytes(m.Place[:])
	encodeStrings(e, m.Roots)
}

func (m *Begin) decode(d *decoder) {
	m.Generation = d.uint()
	if b := d.bytes(); len(b) == len(m.Place) {
		copy(m.Place[:], b)
	} else {
		d.fail()
	}
	m.Roots = decodeStrings(d)
}

func (m *Put) encode(e *encoder) {
	m.Target.encode(e)
	e.uint(uint64(m.Perm))
	e.bool(m.SetPerm)
	e.int(m.MTime)
	e.int(m.Size)
	e.hash(&m.Digest)
	e.byte(byte(m.Encoding))
	e.bool(m.Stream)
	e.bytes(m.Inline)
}

func (m *Put) decode(d *decoder) {
	m.Target.decode(d)
	m.Perm = uint32(d.uint()) & 0o7777
	m.SetPerm = d.bool()
	m.MTime = d.int()
	m.Size = d.int()
	m.Digest = d.hash()
	m.Encoding = Encoding(d.byte())
	m.Stream = d.bool()
	m.Inline = append([]byte(nil), d.bytes()...)
	if m.Size < 0 || m.Encoding > Patched || m.Stream && len(m.Inline) > 0 {
		d.fail()
	}
}

func (m *Data) encode(e *encoder) { e.b = append(e.b, m.Bytes...) }
func (m *Data) decode(d *decoder) { m.Bytes = append([]byte(nil), d.b...); d.b = nil }

func (m *PutEnd) encode(e *encoder) { e.bool(m.Abort) }
func (m *PutEnd) decode(d *decoder) { m.Abort = d.bool() }

func (m *Remove) encode(e *encoder) { m.Target.encode(e); e.bool(m.Now) }
func (m *Remove) decode(d *decoder) { m.Target.decode(d); m.Now = d.bool() }

func (m *Mkdir) encode(e *encoder) {
	m.Target.encode(e)
	e.uint(uint64(m.Perm))
	e.bool(m.SetPerm)
}

func (m *Mkdir) decode(d *decoder) {
	m.Target.decode(d)
	m.Perm = uint32(d.uint()) & 0o7777
	m.SetPerm = d.bool()
}

func (m *Link) encode(e *encoder) {
	m.Target.encode(e)
	e.string(m.To)
	e.int(m.MTime)
}

func (m *Link) decode(d *decoder) {
	m.Target.decode(d)
	m.To = d.string()
	m.MTime = d.int()
}

func (m *Chmod) encode(e *encoder) { m.Target.encode(e); e.uint(uint64(m.Perm)) }
func (m *Chmod) decode(d *decoder) { m.Target.decode(d); m.Perm = uint32(d.uint()) & 0o7777 }

func (m *End) encode(e *encoder) {
	e.uint(uint64(len(m.Commands)))
	for _, c := range m.Commands {
		encodeStrings(e, c)
	}
	e.bool(m.Restart)
	e.bool(m.Container)
	e.bool(m.Hold)
	e.uint(m.Signal)
}

func (m *End) decode(d *decoder) {
	for range d.count() {
		m.Commands = append(m.Commands, decodeStrings(d))
		if d.bad {
			return
		}
	}
	m.Restart = d.bool()
	m.Container = d.bool()
	m.Hold = d.bool()
	m.Signal = d.uint()
}

func encodeStrings(e *encoder, all []string) {
	e.uint(uint64(len(all)))
	for _, s := range all {
		e.string(s)
	}
}

func decodeStrings(d *decoder) []string {
	var all []string
	for range d.count() {
		all = append(all, d.string())
		if d.bad {
			return nil
		}
	}
	return all
}

func (m *Ack) encode(e *encoder) {
	e.uint(m.Generation)
	e.uint(m.Version)
	e.uint(m.Done)
	e.uint(m.Owner)
	encodeStrings(e, m.InPlace)
	e.uint(uint64(len(m.Results)))
	for i := range m.Results {
		r := &m.Results[i]
		e.string(r.Path)
		e.byte(byte(r.Code))
		e.string(r.Text)
		r.Actual.encode(e)
	}
	e.bool(m.Acted)
	e.bool(m.More)
}

func (m *Ack) decode(d *decoder) {
	m.Generation = d.uint()
	m.Version = d.uint()
	m.Done = d.uint()
	m.Owner = d.uint()
	m.InPlace = decodeStrings(d)
	for range d.count() {
		var r Result
		r.Path = d.string()
		r.Code = Code(d.byte())
		r.Text = d.string()
		r.Actual.decode(d)
		if d.bad {
			return
		}
		m.Results = append(m.Results, r)
	}
	m.Acted = d.bool()
	m.More = d.bool()
}

func (m *Ask) encode(e *encoder) { e.uint(m.ID); encodeStrings(e, m.Paths) }
func (m *Ask) decode(d *decoder) { m.ID = d.uint(); m.Paths = decodeStrings(d) }

func (m *Answer) encode(e *encoder) { e.uint(m.ID); e.bool(m.Last); encodeEntries(e, m.Entries) }
func (m *Answer) decode(d *decoder) {
	m.ID = d.uint()
	m.Last = d.bool()
	m.Entries = decodeEntries(d)
}

func (m *Notice) encode(e *encoder) {
	e.byte(byte(m.What))
	e.uint(m.Generation)
	m.Process.encode(e)
	encodeStrings(e, m.Command)
	e.int(m.Code)
	e.int(m.Took)
	e.string(m.Text)
}

func (m *Notice) decode(d *decoder) {
	m.What = NoticeKind(d.byte())
	m.Generation = d.uint()
	m.Process.decode(d)
	m.Command = decodeStrings(d)
	m.Code = d.int()
	m.Took = d.int()
	m.Text = d.string()
}

func (m *Command) encode(e *encoder) { e.bool(m.Restart); e.bool(m.Hold); e.uint(m.Signal) }
func (m *Command) decode(d *decoder) { m.Restart = d.bool(); m.Hold = d.bool(); m.Signal = d.uint() }

func (m *Fetch) encode(e *encoder) { e.string(m.Path) }
func (m *Fetch) decode(d *decoder) { m.Path = d.string() }

func (m *Fetched) encode(e *encoder) { m.File.encode(e); e.int(m.MTime); e.string(m.Text) }
func (m *Fetched) decode(d *decoder) { m.File.decode(d); m.MTime = d.int(); m.Text = d.string() }

func (*Repair) encode(*encoder) {}
func (*Repair) decode(*decoder) {}

func (m *Repaired) encode(e *encoder) { e.bool(m.Told) }
func (m *Repaired) decode(d *decoder) { m.Told = d.bool() }

func (m *Ping) encode(e *encoder) { e.uint(m.N) }
func (m *Ping) decode(d *decoder) { m.N = d.uint() }
func (m *Pong) encode(e *encoder) { e.uint(m.N) }
func (m *Pong) decode(d *decoder) { m.N = d.uint() }

func (m *Refuse) encode(e *encoder) { e.string(m.Code); e.string(m.Text) }
func (m *Refuse) decode(d *decoder) { m.Code = d.string(); m.Text = d.string() }
