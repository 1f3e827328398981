module Cave
  class Bat
    def fly
      1
    end
    def self.hunt; end
  end
end
