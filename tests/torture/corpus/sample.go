package a

type Bat struct{ wings int }

// Late.
func (b *Bat) Fly() {}

func Hunt[T any](x T) {}
